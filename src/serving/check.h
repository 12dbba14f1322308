// The check before traffic: the engine computes the input example that was logged with the model, and what comes out
// is compared with a stored output, or with what the original library gives where an environment is at hand.
// Blocking. Thread safe.
#pragma once
#include <boost/json/value.hpp>
#include <string>

#include "serving/repository.h"

namespace mr::serving {

// The file, beside MLmodel, in which a model's author may keep what the example's predictions must be: the value that
// MLflow's scoring protocol has under "predictions".
inline constexpr std::string_view kExpectedFile = "expected_output.json";

// A request in a form of MLflow's scoring protocol (dataframe_split, dataframe_records, instances, inputs), or a bare
// list of rows, or {"columns", "data"}, as the frame that the model's engine takes.
Result<Frame> frame_of_document(const Model& model, const boost::json::value& document);

// Where two values of "predictions" differ, with the first rows as text; empty: nowhere. Numbers may differ by `within`
// of the larger one.
std::string differences(const boost::json::value& here, const boost::json::value& there, double within);

// Errors (data_loss): the outputs differ, with numbers; (failed_precondition): a strict check cannot be done.
Result<> check_model(const Model& model, const LoadOptions& options);

}  // namespace mr::serving
