"""The kinds of storage that can be added, and the questions about each."""

from __future__ import annotations

import pytest

from efss_transfer.cli.endpoints.presets import PATH, PRESETS, UnknownKind, kinds, preset_of
from efss_transfer.contract import storage_types, validation


def test_presets_ask_for_parameters_of_their_types() -> None:
    for one in PRESETS:
        known = storage_types.parameters(one.type)
        asked = {question.parameter for question in one.questions}
        assert asked - {PATH} <= known.keys()
        assert one.parameters.keys() <= known.keys()
        assert one.address in asked | {"endpoint"}
        assert one.secret in storage_types.secret_parameters(one.type)


@pytest.mark.parametrize("kind", kinds())
def test_questions_of_every_type_are_enough_for_its_schema(kind: str) -> None:
    preset = preset_of(kind)
    values = {
        name: described["examples"][0]
        for question in preset.questions
        if (name := question.parameter) != PATH
        and (described := storage_types.parameters(preset.type)[name])
    }
    document = {"type": preset.type, "parameters": {**preset.parameters, **values}, "path": ""}
    found, _ = validation.violations("request", document, part="/$defs/endpoint")
    assert not found


@pytest.mark.parametrize(
    ("kind", "name"), [("Nextcloud", "nextcloud"), ("OpenCloud", "ocis"), (" FTP ", "ftp")]
)
def test_kind_is_found_as_people_write_it(kind: str, name: str) -> None:
    assert preset_of(kind).name == name


def test_unknown_kind_is_answered_with_what_was_meant() -> None:
    with pytest.raises(UnknownKind, match="Did you mean `nextcloud`") as told:
        preset_of("nextclod")
    assert "canary" not in str(told.value)
