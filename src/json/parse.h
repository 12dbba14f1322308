// Documents: bounded parsing into boost::json values, and tolerant access to their members. Pure functions.
#pragma once
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "core/error.h"

namespace mr::json {

// Parses one document, at most `max_depth` deep. The literals NaN, Infinity and -Infinity, which Python clients send,
// are read as those strings.
Result<boost::json::value> parse(std::string_view text, std::size_t max_depth = 64);
// The member, or nullptr when `v` is not an object or has none.
const boost::json::value* find(const boost::json::value& v, std::string_view key);
// The text of a string member, or empty.
std::string_view string_or_empty(const boost::json::value& v, std::string_view key);
std::string serialize(const boost::json::value& v);
std::string serialize(const boost::json::object& o);
// Appends the same text to `out`.
void serialize_to(std::string& out, const boost::json::object& o);
void serialize_to(std::string& out, const boost::json::value& v);

}  // namespace mr::json
