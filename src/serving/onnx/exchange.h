// Messages of an ONNX worker: the arrays of a request to the tensors that a graph takes, and what it gives to the
// arrays of an answer. Pure functions.
#pragma once
#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "serving/onnx/runtime.h"

namespace mr::serving::onnx {

// One tensor for each input. As mlflow.onnx has it, a table is one tensor when the model takes one, else each input has
// its column; tensors go by their names, or by their place when there is but one. Numbers become what the input is of,
// where nothing is lost but digits of a float. Errors (invalid_argument): what does not fit.
Result<std::vector<Feed>> feeds_of(const boost::json::value& header, std::string_view payload,
                                   const std::vector<Port>& inputs);

// The header's members behind its id, and the arrays behind the header. Of a table's answer each output is a column of
// all its values, of tensors' answers each keeps its shape; maps and lists become JSON values.
struct Answered {
  std::string members, payload;
};
Result<Answered> answer_of(const std::vector<Port>& outputs, const std::vector<Value>& values, bool table);

// The members of the message that says ready.
std::string ready_members(std::string_view version, const std::vector<Port>& inputs, const std::vector<Port>& outputs);
// Why this model cannot be served by a worker of this kind; empty: it can.
std::string not_taken(const std::vector<Port>& inputs, const std::vector<Port>& outputs);

// The inference protocol's name of a type; empty: it has none.
std::string_view protocol_type(Element e);

}  // namespace mr::serving::onnx
