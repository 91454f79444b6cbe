"""Laws of sequences: a name reaches a state, by the rules and texts of OVMS."""

from __future__ import annotations

import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.messages import InferRequest, InferResponse, Parameter
from ovms_mp.core.pending import Pending
from ovms_mp.inference.state import State
from ovms_mp.servable.alarms import Alarms
from ovms_mp.servable.parameters import Uint64
from ovms_mp.servable.sequences import MAX_ID_LENGTH, Sequences
from tests.wire.waiting import until


class Model:
    """Says which state it was given, when the test lets it."""

    def __init__(self) -> None:
        self.states: list[State | None] = []
        self.held: list[Pending[InferResponse]] | None = None
        self.refuses = False

    def __call__(
        self, request: InferRequest, state: State | None
    ) -> Pending[InferResponse]:
        if self.refuses:
            raise ServingError(Status.INVALID_SHAPE)
        self.states.append(state)
        answer = Pending[InferResponse]()
        if self.held is None:
            answer.complete(InferResponse("m", "1", request.id))
        else:
            self.held.append(answer)
        return answer


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def sequences(model: Model) -> Sequences:
    return Sequences(model, Alarms())


def ask(
    sequences: Sequences,
    name: Parameter | None = None,
    *,
    start: bool = False,
    end: bool = False,
) -> Pending[InferResponse]:
    parameters: dict[str, Parameter] = {}
    if name is not None:
        parameters["sequence_id"] = name
    # As tritonclient sends them: both, whatever they say.
    parameters |= {"sequence_start": start, "sequence_end": end}
    return sequences.infer(InferRequest("m", parameters=parameters))


def refusal(sequences: Sequences, *args: Parameter, **flags: bool) -> Status:
    with pytest.raises(ServingError) as refused:
        ask(sequences, *args, **flags)
    return refused.value.status


@pytest.mark.parametrize("name", [7, -7, Uint64(2**64 - 1), "camera"])
def test_a_sequence_has_one_state_from_its_start_to_its_end(sequences, model, name):
    answers = [
        ask(sequences, name, start=True),
        ask(sequences, name),
        ask(sequences, name, end=True),
    ]
    first, second, third = model.states
    assert first is second is third is not None
    assert [each.value().parameters["sequence_id"] for each in answers] == [name] * 3
    assert len(sequences) == 0
    assert refusal(sequences, name) is Status.SEQUENCE_MISSING


def test_sequences_do_not_share_a_state(sequences, model):
    ask(sequences, 1, start=True)
    ask(sequences, "1", start=True)
    assert model.states[0] is not model.states[1]


def test_one_request_may_be_a_whole_sequence(sequences, model):
    ask(sequences, 1, start=True, end=True)
    ask(sequences, 1, start=True, end=True)
    assert len(sequences) == 0 and model.states[0] is not model.states[1]


def test_a_start_without_an_id_gets_one_that_is_free(sequences):
    ask(sequences, 1, start=True)
    given = [ask(sequences, None, start=True), ask(sequences, 0, start=True)]
    assert [each.value().parameters["sequence_id"] for each in given] == [2, 3]


@pytest.mark.parametrize("name", [None, 0, ""])
def test_a_request_of_no_sequence_begins_anew(sequences, model, name):
    answer = ask(sequences, name)
    assert model.states == [None] and "sequence_id" not in answer.value().parameters


def test_what_cannot_be_is_refused_with_ovms_status(sequences):
    assert refusal(sequences, 1) is Status.SEQUENCE_MISSING
    assert refusal(sequences, 1, end=True) is Status.SEQUENCE_MISSING
    assert refusal(sequences, end=True) is Status.SEQUENCE_ID_NOT_PROVIDED
    ask(sequences, 1, start=True)
    assert refusal(sequences, 1, start=True) is Status.SEQUENCE_ALREADY_EXISTS
    assert refusal(sequences, True) is Status.SEQUENCE_ID_BAD_TYPE
    assert refusal(sequences, 1.5) is Status.SEQUENCE_ID_BAD_TYPE
    too_long = "x" * (MAX_ID_LENGTH + 1)
    assert refusal(sequences, too_long, start=True) is Status.SEQUENCE_ID_BAD_TYPE
    with pytest.raises(ServingError) as refused:
        sequences.infer(InferRequest("m", parameters={"sequence_start": 1}))
    assert refused.value.status is Status.INVALID_SEQUENCE_CONTROL_INPUT


def test_a_sequence_whose_end_is_under_way_is_not_there_any_more(sequences, model):
    ask(sequences, 1, start=True)
    model.held = []
    ask(sequences, 1, end=True)
    assert refusal(sequences, 1) is Status.SEQUENCE_MISSING
    assert refusal(sequences, 1, start=True) is Status.SEQUENCE_TERMINATED
    model.held[0].complete(InferResponse("m", "1"))
    model.held = None
    assert ask(sequences, 1, start=True).is_settled


def test_there_are_only_so_many(model):
    sequences = Sequences(model, Alarms(), most=2)
    for name in (1, 2):
        ask(sequences, name, start=True)
    assert refusal(sequences, 3, start=True) is Status.MAX_SEQUENCE_NUMBER_REACHED
    # As in OVMS: that is looked at first.
    assert refusal(sequences, 1, start=True) is Status.MAX_SEQUENCE_NUMBER_REACHED
    ask(sequences, 1, end=True)
    ask(sequences, 3, start=True)


def test_a_start_that_does_not_fit_or_fails_has_started_nothing(sequences, model):
    model.refuses = True
    assert refusal(sequences, 1, start=True) is Status.INVALID_SHAPE
    model.refuses = False
    model.held = []
    ask(sequences, 1, start=True)
    model.held[0].fail(ServingError(Status.OV_INTERNAL_INFERENCE_ERROR))
    assert len(sequences) == 0


def test_an_end_that_fails_can_be_asked_for_again(sequences, model):
    ask(sequences, 1, start=True)
    model.held = []
    ask(sequences, 1, end=True)
    model.held[0].fail(ServingError(Status.OV_INTERNAL_INFERENCE_ERROR))
    ask(sequences, 1, end=True)
    model.held[1].complete(InferResponse("m", "1"))
    assert len(sequences) == 0


def test_to_cancel_an_answer_cancels_the_inference(sequences, model):
    model.held = []
    ask(sequences, 1, start=True).cancel()
    assert model.held[0].is_settled and len(sequences) == 0


def test_an_idle_sequence_is_forgotten_and_one_at_work_is_not(model):
    sequences = Sequences(model, Alarms(), idle_seconds=0.05)
    ask(sequences, 1, start=True)
    model.held = []
    ask(sequences, 2, start=True)
    assert until(lambda: len(sequences) == 1)
    model.held[0].complete(InferResponse("m", "1"))
    assert until(lambda: len(sequences) == 0)
    model.held = None
    ask(sequences, 3, start=True)  # and later ones as well
    assert until(lambda: len(sequences) == 0)


def test_without_a_clean_up_a_sequence_stays(model):
    sequences = Sequences(model, Alarms(), idle_seconds=None)
    ask(sequences, 1, start=True)
    assert not until(lambda: len(sequences) == 0, within=0.1)
