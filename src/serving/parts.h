// Answers of several arrays (Output::parts) as JSON. Pure functions.
#pragma once
#include <string>

#include "serving/types.h"

namespace mr::serving {

// `"parameters":{…},"outputs":[…]` of a V2 answer, with the content types that MLServer's mlflow runtime gives.
void append_v2_outputs(std::string& out, const Output& o);
// The value of "predictions" as V1 and MLflow's scoring protocol have it: a DataFrame is a list of records, a dict of
// arrays an object of lists, several arrays a list of them, a tensor nested lists.
void append_predictions(std::string& out, const Output& o);
// The number of values that a part must have by its shape; nullopt when the shape is out of range.
std::optional<std::size_t> part_size(const OutputPart& p);

}  // namespace mr::serving
