"""Generation: demonstration sets whose texts the dense model writes itself."""
