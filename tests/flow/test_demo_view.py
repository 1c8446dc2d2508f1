from typing import get_args

from agent_sidecar.commands.demo_view import STEPS
from agent_sidecar.domain.events import TransferStep


def test_each_step_of_a_transfer_has_words_for_people():
    assert STEPS.keys() | {"ended"} == set(get_args(TransferStep))
