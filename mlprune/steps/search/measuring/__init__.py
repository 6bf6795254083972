"""What candidates of a search are worth: values of the objective and the constraints from predictions."""
