// scikit-learn's linear models, alone or behind scalers in Pipelines, rebuilt from the inert tree. The formulas are
// those of scikit-learn's documentation of each estimator, with its dtype rules. Pure functions; engines are thread
// safe.
#pragma once
#include <memory>

#include "serving/formats/tree.h"
#include "serving/types.h"

namespace mr::serving {

// `predict_fn` is MLflow's: predict, predict_proba or predict_log_proba. `written_by`: the scikit-learn version that
// MLmodel names, used where the estimator does not say its own. Errors name the class that is in the way.
Result<std::unique_ptr<Engine>> make_linear_engine(const Tree& tree, const std::string& predict_fn,
                                                   const std::string& written_by);

}  // namespace mr::serving
