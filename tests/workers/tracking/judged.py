"""What trainings on a data set of one class found."""

from service.jobs.results import Judgement, TrainResults


def results(mean_ap: float) -> TrainResults:
    judgement = Judgement(
        ap={"disc": mean_ap},
        mean_ap=mean_ap,
        corloc={"disc": 0.5},
        mean_corloc=0.5,
        num_test_images=1,
        num_train_images=1,
        seconds_per_image=None,
    )
    return TrainResults(classes=("disc",), trained=judgement)


def results_without_boxes(classification_ap: float) -> TrainResults:
    """Of a data set of which labels are known alone."""
    judgement = Judgement(
        ap={"disc": None},
        mean_ap=None,
        corloc={"disc": None},
        mean_corloc=None,
        classification_ap={"disc": classification_ap},
        mean_classification_ap=classification_ap,
        without_boxes=("test", "train"),
        num_test_images=1,
        num_train_images=1,
        seconds_per_image=None,
    )
    return TrainResults(classes=("disc",), trained=judgement)
