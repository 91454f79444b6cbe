"""Laws of models that remember: to whom a state belongs, and in which order."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from ovms_mp.core.errors import ServingError, Status
from ovms_mp.core.pending import Cancelled, Pending
from ovms_mp.inference.openvino import OpenVINOEngine
from ovms_mp.inference.state import State, infer_from
from tests.unit.inference import tiny


@pytest.fixture
def total(tmp_path):
    """y = x + all x before."""
    path = tiny.save(tmp_path, tiny.running_total())
    engine = OpenVINOEngine()
    model = engine.load(path, tiny.EXACT)
    yield model
    assert model.busy == 0
    model.close()
    engine.close()


def ask(model, state, value):
    x = np.full((1, 4), value, np.float32)
    return infer_from(state, [x], model.infer)


def first(pending):
    """The number that an inference gave."""
    result = pending.result(30)
    outputs = getattr(result, "outputs", result)
    return float(outputs[0].flat[0])


def test_a_state_goes_on_from_inference_to_inference(total):
    assert total.is_stateful
    state = State()
    assert [first(ask(total, state, 1)) for _ in range(4)] == [1, 2, 3, 4]


def test_states_of_several_users_do_not_meet_whichever_slot_they_get(total):
    states = [State() for _ in range(3 * total.slots)]
    pendings = [
        ask(total, state, number)
        for _ in range(5)
        for number, state in enumerate(states)
    ]
    found = [first(each) for each in pendings]
    assert found == [n * (step + 1) for step in range(5) for n in range(len(states))]


def test_without_a_state_an_inference_begins_anew(total):
    state = State()
    first(ask(total, state, 5))
    assert [first(ask(total, None, 1)) for _ in range(3 * total.slots)] == [1] * (
        3 * total.slots
    )
    assert first(ask(total, state, 5)) == 10


def test_inferences_of_one_state_keep_their_order_from_any_number_of_them(total):
    state = State()
    pendings = [ask(total, state, 1) for _ in range(500)]
    assert [first(each) for each in pendings] == list(range(1, 501))


def test_one_that_fails_leaves_the_state_as_it_was(total):
    state = State()
    first(ask(total, state, 1))
    wrong = infer_from(state, [np.zeros((1, 5), np.float32)], total.infer)
    with pytest.raises(ServingError) as failed:
        wrong.result(30)
    assert failed.value.status is Status.OV_INTERNAL_INFERENCE_ERROR
    assert first(ask(total, state, 1)) == 2


def test_one_that_is_given_up_in_the_queue_is_not_inferred(total):
    state, gate = State(), Pending[int]()
    waiting = state.in_turn(lambda: gate)
    given_up = ask(total, state, 100)
    kept = ask(total, state, 1)
    given_up.cancel()
    gate.complete(0)
    assert first(kept) == 1
    assert isinstance(given_up.error, Cancelled) and waiting.value() == 0


def test_to_give_up_the_one_that_is_under_way_cancels_it():
    state, under_way = State(), Pending[int]()
    pending = state.in_turn(lambda: under_way)
    after = state.in_turn(Pending[int])
    pending.cancel()
    assert isinstance(under_way.error, Cancelled)
    assert not after.is_settled


def test_what_raises_fails_its_own_turn_only():
    def fail() -> Pending[int]:
        raise ServingError(Status.RESOURCE_EXHAUSTED)

    def work() -> Pending[int]:
        done = Pending[int]()
        done.complete(7)
        return done

    state = State()
    with pytest.raises(ServingError):
        state.in_turn(fail).value()
    assert state.in_turn(work).value() == 7


def test_turns_may_be_asked_for_and_settled_by_any_threads():
    state, seen, under_way = State(), list[int](), threading.Semaphore(1)

    def work(number: int) -> Pending[int]:
        assert under_way.acquire(blocking=False), "two at a time"
        done = Pending[int]()

        def settle() -> None:
            seen.append(number)
            under_way.release()
            done.complete(number)

        threading.Thread(target=settle).start()
        return done

    pendings = [state.in_turn(lambda n=n: work(n)) for n in range(50)]
    assert [each.result(30) for each in pendings] == list(range(50)) == seen


def test_a_model_without_a_state_has_none(tmp_path):
    engine = OpenVINOEngine()
    model = engine.load(tiny.save(tmp_path, tiny.add_one()), tiny.EXACT)
    assert not model.is_stateful
    model.close()
    engine.close()


def load(path, *, low_latency):
    engine = OpenVINOEngine()
    return engine, engine.load(path, replace(tiny.EXACT, low_latency=low_latency))


@pytest.mark.parametrize("steps", [1, 3])
def test_a_loop_goes_on_where_it_ended_if_it_is_made_a_state(tmp_path, steps):
    path = tiny.save(tmp_path, tiny.looped(steps))
    engine, model = load(path, low_latency=True)
    assert model.is_stateful
    x, states = np.ones((1, steps, 4), np.float32), (State(), State())
    for step in range(1, 4):
        for state in states:
            (y,) = infer_from(state, [x], model.infer).result(30).outputs
            last = step * steps
            assert y[0, :, 0].tolist() == [*range(last - steps + 1, last + 1)]
    model.close()
    engine.close()


def test_a_loop_begins_anew_unless_it_is_made_a_state(tmp_path):
    path = tiny.save(tmp_path, tiny.looped(3))
    engine, model = load(path, low_latency=False)
    assert not model.is_stateful
    x = np.ones((1, 3, 4), np.float32)
    for _ in range(2):
        (y,) = model.infer([x]).result(30).outputs
        assert y[0, :, 0].tolist() == [1, 2, 3]
    model.close()
    engine.close()
