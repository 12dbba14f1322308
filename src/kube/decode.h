// The parts of reading text bodies that decode.cpp joins. Pure functions.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kube/object.h"

namespace mr::kube::decode {

constexpr std::size_t deepest = 256;
constexpr std::size_t most_faults = 100;  // of unknown and duplicate fields that are reported

// What is wrong with a JSON text, in the words of Go's decoder; nullopt: nothing. `duplicates` receives
// `duplicate field "spec.x"` for each key that an object has twice.
std::optional<std::string> scan_json(std::string_view text, std::vector<std::string>& duplicates);
// The first document of a YAML text as JSON. Anchors are followed within a bound of nodes. `duplicates` receives what
// the strict decoder says of all keys that stand twice, as one text. The error has no prefix ("yaml: line 2: …").
// `pyyaml`: plain words are what PyYAML's reader takes them for, which writes pipelines: y, n, 1e3 and 0o17 are texts.
Result<Value> parse_yaml(std::string_view text, std::vector<std::string>& duplicates, bool pyyaml = false);

// Whether `text` is an amount ("500m", "1Gi"); the real server's words for what is wrong with it.
std::optional<std::string> quantity_fault(std::string_view text);
// What Go's parser says of a text that is no RFC 3339 time.
std::optional<std::string> time_fault(std::string_view text);
// Where a base64 text goes wrong: Go's `illegal base64 data at input byte 3`.
std::optional<std::string> base64_fault(std::string_view text);

}  // namespace mr::kube::decode
