// Helpers that the routes_*.cpp share. Internal to the tracking room.
#pragma once
#include "tracking/encode.h"
#include "tracking/errors.h"
#include "tracking/message.h"
#include "tracking/types.h"

namespace mr::tracking {

using Answer = task::Task<Result<std::string>>;

// "{}" when r is good.
template <class T>
Result<std::string> nothing(const Result<T>& r) {
  if (!r) return std::unexpected(r.error());
  return "{}";
}
// The key-value sub-messages of a field.
Tags read_pairs(const Message& m, std::string_view field, std::string_view key = "key");
// max_results within 1..limit; `fallback` when absent (0: absent is an error).
Result<std::int64_t> max_results(const Message& m, std::int64_t fallback, std::int64_t limit);
// The schema's own bound on max_results, with the schema's text.
Result<> check_schema_limit(const Message& m, std::int64_t limit);
ViewType view_type(std::string_view text);
Result<std::vector<std::int64_t>> experiment_ids(const Message& m);

}  // namespace mr::tracking
