// The Common Expression Language as pipelines use it: conditions of tasks (triggerPolicy.condition) and selectors
// (parameterExpressionSelector). A parsed Expression is immutable and thread safe. Bounded in length and depth.
// Operators: || && ! == != < <= > >= in + - * / % ?: [] . and the functions size, has, int, uint, double, string, bool,
// type-free startsWith, endsWith, contains, matches (RE2), parseJson; macros all/exists/map/filter are refused by name.
// Numbers compare across int and double. Source: cel-spec, "language definition".
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/types.h"

namespace mr::pipelines {

class Expression {
 public:
  // Errors: invalid_argument, with the position and what was expected.
  static Result<Expression> parse(std::string_view text);
  // Evaluates with these variables (members of `variables` are the names). Errors: invalid_argument, naming the unknown
  // name, missing key or mismatched types as cel-go does ("no such key: x", "no such overload").
  [[nodiscard]] Result<Value> evaluate(const Object& variables) const;
  // The same, for a condition. Errors also: the result is no bool.
  [[nodiscard]] Result<bool> holds(const Object& variables) const;
  // Members of inputs.parameter_values / inputs.parameters / inputs.artifacts that the text names literally.
  [[nodiscard]] const std::vector<std::string>& input_names() const;
  [[nodiscard]] const std::string& text() const;

  struct Node;

 private:
  std::shared_ptr<const Node> root_;
  std::string text_;
  std::vector<std::string> names_;
};

// The variables of a condition: `inputs` with parameter_values (JSON values), parameters (the old form: {string_value |
// int_value | double_value}) and artifacts.
Object condition_variables(const Object& parameter_values, const Object& artifacts);
// The variables of a selector over one value: string_value always (JSON text for non-strings), and the one that fits.
Object selector_variables(const Value& value);

}  // namespace mr::pipelines
