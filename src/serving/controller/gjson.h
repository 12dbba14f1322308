// Conditions of InferenceGraph steps: a subset of GJSON paths, of which only is asked whether they find something.
// Understood: names with * and ?, indexes, #, #(query) and #(query)#, @this and [@this]; queries compare with
// == = != < <= > >= % !% . Everything else is refused when it is parsed. Immutable once parsed: thread safe.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kube/object.h"

namespace mr::serving {

class JsonPath {
 public:
  // Errors say what is not understood. At most 1024 bytes and 32 steps.
  static Result<JsonPath> parse(std::string_view text);
  [[nodiscard]] bool exists(const kube::Value& document) const;

  struct Step;

 private:
  std::shared_ptr<const std::vector<Step>> steps_;
};

}  // namespace mr::serving
