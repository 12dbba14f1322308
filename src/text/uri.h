// Percent-encoding, query strings, and the one place where a path from outside is judged. Pure functions.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace mr::text {

// Decodes %XX once; '+' stays '+'. nullopt when an escape is malformed.
std::optional<std::string> percent_decode(std::string_view s);
// Encodes everything but A-Z a-z 0-9 - . _ ~ and the characters of `keep`.
std::string percent_encode(std::string_view s, std::string_view keep = {});

using QueryPairs = std::vector<std::pair<std::string, std::string>>;
// application/x-www-form-urlencoded rules: '+' is a space, blanks are kept, a malformed escape stays as it is.
QueryPairs parse_query(std::string_view query);

struct Uri {
  std::string scheme;     // lower case, empty when there is none
  std::string authority;  // host[:port] or bucket
  std::string path;       // with its leading '/', as written
  std::string query;
  std::string fragment;
};
// Splits; never fails: a text without "scheme:" is a path.
Uri parse_uri(std::string_view s);

// A relative path from a client, safe below a root: no empty or dot segments, no "..", not absolute, no NUL, no
// backslash. The error's message is "Invalid path".
Result<std::string> safe_relative_path(std::string_view decoded);

// The same for an artifact's name, which is kept byte for byte: a backslash is an ordinary character here, and what
// further percent-decoding would turn into a climb is refused as well.
Result<std::string> safe_artifact_path(std::string_view decoded);

}  // namespace mr::text
