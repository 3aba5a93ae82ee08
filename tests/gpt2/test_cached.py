"""What is computed once for each object, and waits for no other."""

import threading

from gpt2.cached import cached_property


class Slow:
    def __init__(self, go):
        self.go, self.began, self.times = go, threading.Event(), 0

    @cached_property
    def value(self):
        """Seven."""
        self.began.set()
        self.times += 1
        assert self.go.wait(60)
        return 7


def test_it_is_computed_once_and_can_be_forgotten():
    go = threading.Event()
    go.set()
    one = Slow(go)
    assert (one.value, one.value, one.times) == (7, 7, 1)
    del one.value
    assert (one.value, one.times) == (7, 2)
    assert Slow.value.__doc__ == "Seven."
    assert "value" not in vars(Slow(go))


def test_one_object_does_not_wait_for_another():
    """In Python 3.11 that of functools has one lock for all, and a child of fork waits for it for ever."""
    slow, quick = Slow(threading.Event()), Slow(threading.Event())
    quick.go.set()
    first = threading.Thread(target=lambda: slow.value)
    first.start()
    try:
        assert slow.began.wait(60)
        second = threading.Thread(target=lambda: quick.value, daemon=True)
        second.start()
        second.join(20)
        assert not second.is_alive()
    finally:
        slow.go.set()
        first.join()
    assert (slow.value, quick.value) == (7, 7)


def test_texts_tokenizers_and_corpora_use_it():
    from gpt2.text.corpora import Corpus
    from gpt2.text.encoding import Prepared
    from gpt2.tokenizers import BPETokenizer

    for cls in (Corpus, Prepared, BPETokenizer):
        kept = {
            name: type(value) for base in cls.__mro__ for name, value in vars(base).items() if "cached" in type(value).__name__
        }
        assert kept
        assert set(kept.values()) == {cached_property}, kept
