// Label and field selectors as texts of a query: `a=b,c!=d,e in (f,g),!h`, `metadata.name=x,status.phase!=Running`.
// Parsed selectors are plain values; matching is a pure function: thread safe.
#pragma once
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "kube/errors.h"
#include "kube/kinds.h"

namespace mr::kube {

struct LabelRequirement {
  enum class Op : std::uint8_t { exists, not_exists, in, not_in, greater, less };  // = is `in` one value
  std::string key;
  Op op = Op::exists;
  std::vector<std::string> values;
};

class LabelSelector {
 public:
  // Errors: 400 with the real server's text. Empty text: selects all.
  static std::expected<LabelSelector, ApiError> parse(std::string_view text);
  [[nodiscard]] bool matches(const Object& object) const;  // by its metadata.labels
  [[nodiscard]] bool matches_labels(const Object& labels) const;
  [[nodiscard]] bool empty() const { return all.empty(); }
  std::vector<LabelRequirement> all;
};

struct FieldRequirement {
  std::string field, value;
  bool negated = false;
};

class FieldSelector {
 public:
  // Errors: 400; fields that the kind does not select by are refused.
  static std::expected<FieldSelector, ApiError> parse(std::string_view text, const Kind& kind);
  [[nodiscard]] bool matches(const Object& object) const;
  [[nodiscard]] bool empty() const { return all.empty(); }
  // The value of `metadata.name=…`, when the selector has one: a list of it is a get.
  [[nodiscard]] std::string_view exact_name() const;
  std::vector<FieldRequirement> all;
};

}  // namespace mr::kube
