"""Workers: processes that carry out tasks, end with the process that they work for, and are waited for."""
