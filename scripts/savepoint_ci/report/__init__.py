"""What a run found, as data (`model`), how evidence becomes that data (`build`), and what people see of it."""
