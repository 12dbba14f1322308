// Cells of `kubectl get` that are more than a path: what the real server's printers compute. Pure functions.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "kube/object.h"

namespace mr::kube::table {

// A cell function: the object, and now in milliseconds since 1970.
using Cell = Value (*)(const Object& o, std::int64_t now_ms);
// By the name that a description's column gives ("pod.status"), or nullptr.
Cell find_cell(std::string_view name);
Cell find_pod_cell(std::string_view name);
Cell find_workload_cell(std::string_view name);
Cell find_object_cell(std::string_view name);

// "45s", "3m5s", "2d", "5h": a length of time as kubectl shows it.
std::string human_duration(std::int64_t seconds);
// Milliseconds since 1970 of an RFC 3339 text (with or without a fraction, with Z or an offset).
std::optional<std::int64_t> parse_time(std::string_view text);
// The time since `text`, or "<unknown>" when there is none.
std::string age_of(std::string_view text, std::int64_t now_ms);

std::string joined(const std::vector<std::string>& parts, std::string_view separator = ",");
// "a=b,c=d" ordered by key; "<none>" when empty.
std::string format_labels(const Object& labels);
// A LabelSelector as the text of a selector; "" when it is empty or there is none.
std::string selector_text(const Value* selector);

}  // namespace mr::kube::table
