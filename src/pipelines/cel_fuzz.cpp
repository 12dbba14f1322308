// Any text as an expression: it is parsed or refused with a position, it evaluates or fails within its bounds, and does
// so the same way twice.
#include "json/parse.h"
#include "pipelines/cel.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mr;
  using namespace mr::pipelines;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  static const Object condition = condition_variables(
      json::parse(R"({"a": "x", "n": 3, "d": 0.5, "b": true, "l": [1, [2], {"k": null}], "m": {"k": [1]}})")
          ->get_object(),
      json::parse(R"({"a": {"artifacts": [{"uri": "s3://b/k", "metadata": {"k": 1}}]}})")->get_object());
  static const Object selector = selector_variables(*json::parse(R"({"k": [1, "x"]})"));

  auto e = Expression::parse(text);
  if (!e) {
    if (e.error().message.empty() || e.error().code != Code::invalid_argument) __builtin_trap();
    return 0;
  }
  if (e->text() != text) __builtin_trap();
  for (const auto* variables : {&condition, &selector}) {
    auto first = e->evaluate(*variables);
    auto second = e->evaluate(*variables);
    if (first.has_value() != second.has_value()) __builtin_trap();
    if (!first && first.error().message != second.error().message) __builtin_trap();
    auto holds = e->holds(*variables);
    if (holds && !(first && first->is_bool() && first->get_bool() == *holds)) __builtin_trap();
  }
  return 0;
}
