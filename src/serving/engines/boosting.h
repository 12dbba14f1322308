// The parts of the tree family that stand in files of their own: boosting.cpp and committees.cpp. Called by
// add_trees().
#pragma once
#include "serving/engines/estimator.h"

namespace mr::serving {

void add_boosting(Makers& makers);    // GradientBoosting*, HistGradientBoosting*
void add_committees(Makers& makers);  // AdaBoost*, Bagging*

}  // namespace mr::serving
