"""What people see and type: lines, exit statuses, signals, parameters, locks."""
