"""The parts of the schemas of every_eval_ever 0.3.0 that our files use, as JSON schemas without unknown keys.

Source: `every_eval_ever/schemas/eval.schema.json` and `instance_level_eval.schema.json` of
https://github.com/evaleval/every_eval_ever at commit 9bce4136 (2026-08-13). They are written down again here, narrower:
keys that we do not write are not allowed, and keys that we always write are required.
"""

from typing import Any

from jsonschema import Draft7Validator

TEXT, NUMBER, TEXTS = {"type": "string"}, {"type": "number"}, {"type": "array", "items": {"type": "string"}}
DETAILS = {"type": "object", "additionalProperties": {"type": "string"}}
UUID4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def mapping(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """A closed object."""
    properties = {**required, **optional}
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


UNCERTAINTY = mapping(
    {},
    standard_error=mapping({"value": NUMBER, "method": TEXT}),
    confidence_interval=mapping(
        {"lower": NUMBER, "upper": NUMBER, "confidence_level": {"type": "number", "minimum": 0, "maximum": 1}},
        method=TEXT,
    ),
    num_samples={"type": "integer"},
)
SOURCE = {
    "oneOf": [
        mapping(
            {"dataset_name": TEXT, "source_type": {"const": "hf_dataset"}, "hf_repo": TEXT, "hf_split": TEXT},
            additional_details=DETAILS,
        ),
        mapping({"dataset_name": TEXT, "source_type": {"const": "other"}}, additional_details=DETAILS),
    ]
}
METRIC = mapping(
    {
        "metric_id": TEXT,
        "metric_name": TEXT,
        "metric_kind": TEXT,
        "metric_unit": TEXT,
        "lower_is_better": {"type": "boolean"},
        "score_type": {"const": "continuous"},
        "min_score": NUMBER,
        "max_score": {"oneOf": [NUMBER, {"enum": ["Infinity", "-Infinity"]}]},
    }
)
RESULT = mapping(
    {
        "evaluation_result_id": TEXT,
        "evaluation_name": TEXT,
        "source_data": SOURCE,
        "metric_config": METRIC,
        "score_details": mapping({"score": NUMBER}, details=DETAILS, uncertainty=UNCERTAINTY),
    },
    evaluation_timestamp=TEXT,
    generation_config=mapping(
        {"generation_args": {"type": "object", "maxProperties": 0}, "additional_details": DETAILS}
    ),
)
MODEL_DETAILS = {
    **DETAILS,
    "required": ["deployment_type", "model_availability"],
    "properties": {
        "deployment_type": {"enum": ["self_deployed", "externally_managed", "unknown"]},
        "model_availability": {"enum": ["open_weights", "closed_weights", "unknown"]},
    },
}
AGGREGATE = Draft7Validator(
    mapping(
        {
            "schema_version": {"const": "0.3.0"},
            "evaluation_id": TEXT,
            "retrieved_timestamp": {"type": "string", "pattern": "^[0-9]+$"},
            "source_metadata": mapping(
                {
                    "source_name": TEXT,
                    "source_type": {"enum": ["documentation", "evaluation_run"]},
                    "source_organization_name": TEXT,
                    "evaluator_relationship": {"enum": ["first_party", "third_party", "collaborative", "other"]},
                }
            ),
            "eval_library": mapping({"name": TEXT, "version": TEXT}),
            "model_info": mapping(
                {
                    "name": TEXT,
                    "id": TEXT,
                    "developer": TEXT,
                    "inference_engine": mapping({"name": TEXT}),
                    "additional_details": MODEL_DETAILS,
                }
            ),
            "evaluation_results": {"type": "array", "items": RESULT, "minItems": 1},
        },
        detailed_evaluation_results=mapping(
            {
                "format": {"const": "jsonl"},
                "file_path": {"type": "string", "pattern": f"^data/[^/]+/[^/]+/[^/]+/{UUID4}_samples\\.jsonl$"},
                "hash_algorithm": {"enum": ["sha256", "md5"]},
                "checksum": TEXT,
                "total_rows": {"type": "integer"},
            }
        ),
    )
)
SAMPLE = Draft7Validator(
    mapping(
        {
            "schema_version": {"const": "0.3.0"},
            "evaluation_id": TEXT,
            "model_id": TEXT,
            "evaluation_name": TEXT,
            "evaluation_result_id": TEXT,
            "sample_id": TEXT,
            "sample_hash": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "interaction_type": {"const": "single_turn"},
            "input": mapping({"raw": TEXT, "reference": TEXTS, "choices": {"oneOf": [TEXTS, {"type": "null"}]}}),
            "output": mapping({"raw": TEXTS}),
            "answer_attribution": {
                "type": "array",
                "items": mapping(
                    {
                        "turn_idx": {"type": "integer", "minimum": 0},
                        "source": TEXT,
                        "extracted_value": TEXT,
                        "extraction_method": TEXT,
                        "is_terminal": {"type": "boolean"},
                    }
                ),
            },
            "evaluation": mapping({"score": NUMBER, "is_correct": {"type": "boolean"}}),
            "metadata": DETAILS,
        }
    )
)
