from service.jobs.results import Judgement, TrainResults


def judgement(mean_ap: float, mean_corloc: float) -> Judgement:
    return Judgement(
        ap={"car": mean_ap, "cat": None},
        mean_ap=mean_ap,
        corloc={"car": mean_corloc},
        mean_corloc=mean_corloc,
        num_test_images=4,
        num_train_images=8,
        seconds_per_image=0.1,
    )


def results(trained: Judgement, untrained: Judgement | None, chance: Judgement | None) -> TrainResults:
    return TrainResults(classes=("car", "cat"), trained=trained, untrained=untrained, chance=chance)


def test_better_than_both_baselines_has_no_shortcoming() -> None:
    assert results(judgement(0.5, 0.6), judgement(0.1, 0.1), judgement(0.2, 0.2)).shortcomings() == ()


def test_each_baseline_that_is_not_beaten_is_named() -> None:
    told = results(judgement(0.2, 0.6), judgement(0.1, 0.7), judgement(0.2, 0.2)).shortcomings()
    assert told == (
        "mean CorLoc 0.600 does not beat the untrained network (0.700)",
        "mean AP 0.200 does not beat chance (0.200)",
    )


def test_baselines_that_were_not_asked_for_are_not_missed() -> None:
    assert results(judgement(0.0, 0.0), None, None).shortcomings() == ()


def test_results_survive_json() -> None:
    whole = results(judgement(0.5, 0.6), judgement(0.1, 0.1), None)
    assert TrainResults.model_validate_json(whole.model_dump_json()) == whole
