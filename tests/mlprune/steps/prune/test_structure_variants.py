"""Structures whose variants a capability makes."""

from mlprune.methods import STRUCTURES
from mlprune.steps.prune.structure_variants import StructureVariants, variants_of_structure
from mlprune.store.record_kinds import VARIANTS_OF_STRUCTURES


def test_every_structure_of_whole_units_names_the_class_that_makes_its_variants() -> None:
    of_model = {name for name, structure in STRUCTURES.items() if structure.of_model}
    assert of_model == VARIANTS_OF_STRUCTURES.keys() & STRUCTURES.keys()
    assert all(isinstance(variants_of_structure(name), StructureVariants) for name in VARIANTS_OF_STRUCTURES)


def test_structures_of_weights_and_plug_ins_of_any_name_belong_to_no_capability() -> None:
    assert all(variants_of_structure(name) is None for name in ("row", "2:4", None))
    assert variants_of_structure("neurons", plugin="a file") is None
