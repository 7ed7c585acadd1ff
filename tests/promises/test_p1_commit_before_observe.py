"""P1: an outcome is committed to the journal before anyone can see it."""

from core.driver import Driver, error, spec


def held() -> Driver:
    driver = Driver(cpu=4)
    driver.hold_commits = True
    return driver


def test_p1_a_parent_sees_a_value_after_its_commit() -> None:
    driver = held()
    child = driver.call(driver.start())
    driver.end(child)
    assert driver.delivered(child.id) == []
    driver.commit()
    assert driver.delivered(child.id) == [driver.outcome(child)]


def test_p1_a_parent_sees_a_failure_after_its_commit() -> None:
    driver = held()
    child = driver.call(driver.start())
    driver.fail(child, error("boom"))
    assert driver.delivered(child.id) == []
    driver.commit()
    assert driver.delivered(child.id) == [driver.outcome(child)]


def test_p1_a_step_goes_on_after_its_commit() -> None:
    driver = held()
    step = driver.step(driver.start(), "step")
    assert driver.delivered(step) == []
    driver.commit()
    assert len(driver.delivered(step)) == 1


def test_p1_what_needs_a_value_starts_after_its_commit() -> None:
    driver = held()
    root = driver.start()
    first = driver.call(root, "first")
    driver.call(root, "second", needs=(first.id,))
    driver.end(first)
    assert driver.started() == ["root", "first"]
    driver.commit()
    assert driver.started() == ["root", "first", "second"]


def test_p1_a_sleep_ends_after_its_commit() -> None:
    driver = held()
    nap = driver.sleep(driver.start(), 1.0)
    driver.after(1.0)
    assert driver.delivered(nap.id) == []
    driver.commit()
    assert len(driver.delivered(nap.id)) == 1


def test_p1_a_run_has_ended_after_its_commit() -> None:
    driver = held()
    driver.end(driver.start(spec("root")))
    assert driver.ended == []
    driver.commit()
    assert driver.ended == [driver.journal.load_run("run").outcome]
