// Regular expressions of users, bounded in size and memory. Pure functions; a Pattern is thread safe.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"
#include "mesh/types.h"

namespace mr::mesh {

// RE2 syntax, at most 1024 bytes.
Result<std::shared_ptr<const Pattern>> compile_pattern(std::string_view text);
// Whether the whole value matches.
bool full_match(const Pattern& p, std::string_view value);
// Every match replaced; \1 to \9 are groups.
std::string replace_all(const Pattern& p, std::string_view value, const std::string& substitution);
// Error when the substitution names a group that the pattern has not.
Result<void> check_substitution(const Pattern& p, const std::string& substitution);

}  // namespace mr::mesh
