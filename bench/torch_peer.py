"""The article's model as a PyTorch script.

python bench/torch_peer.py bench/out/ids.npz 3 7
"""

import sys

import torch
from torch import nn

import ids

file, epochs, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
(x_train, y_train), (x_validation, y_validation) = (
    (torch.from_numpy(part[0]), torch.from_numpy(part[1])) for part in ids.load(file)
)
torch.manual_seed(seed)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5000, 50)
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05)  # as in Keras; the rest has PyTorch's initial values
        self.convolution = nn.Conv1d(50, 250, 3)
        self.hidden, self.output = nn.Linear(250, 250), nn.Linear(250, 1)
        self.dropout = nn.Dropout(0.2)

    def forward(self, words):
        x = self.dropout(self.embedding(words)).transpose(1, 2)
        x = torch.relu(self.convolution(x)).amax(2)
        return self.output(torch.relu(self.dropout(self.hidden(x)))).squeeze(1)


model = Classifier()
loss_of = nn.BCEWithLogitsLoss()
adam = torch.optim.Adam(model.parameters(), lr=0.001, eps=1e-7, fused=True)
best = float("inf")
for epoch in range(epochs):
    model.train()
    for rows in torch.randperm(len(x_train)).split(32):
        adam.zero_grad()
        loss_of(model(x_train[rows]), y_train[rows]).backward()
        adam.step()
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(part) for part in x_validation.split(256)])
        val_loss = loss_of(logits, y_validation).item()
        accuracy = ((logits > 0) == (y_validation > 0.5)).float().mean().item()
    if val_loss < best:
        best = val_loss
        torch.save(model.state_dict(), "best.pt")
    print(f"epoch {epoch + 1}: val_loss {val_loss:.4f}, val_accuracy {accuracy:.4f}", flush=True)
