// Wire messages by description, in both directions: one table of a message's fields reads it from JSON as protobuf's
// JSON mapping has it (snake_case and camelCase names, unknown fields refused) and writes it (snake_case names, what is
// unset left out, int64 as texts, times as RFC 3339 in whole seconds, enums by name). A message in between is an Object
// with snake_case names: texts, int64 (times: milliseconds), bools, enum names, and nested messages. Pure functions;
// tables are constants.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "pipelines/types.h"

namespace mr::pipelines {

enum class FieldKind : std::uint8_t {
  string,
  boolean,
  integer,  // int32: a number
  number,   // int64: a text
  real,
  time,
  enumeration,
  document,  // google.protobuf.Struct: an object
  value,     // any JSON
  message,
};
enum class Many : std::uint8_t { one, list, map };
struct MessageType;
struct MessageField {
  std::string_view name;
  FieldKind kind = FieldKind::string;
  Many many = Many::one;
  const MessageType* type = nullptr;             // of a message
  std::span<const std::string_view> words = {};  // of an enumeration, by number; "": no such number
  std::string_view one_of = {};                  // fields of one name exclude each other
};
struct MessageType {
  std::string_view name;
  std::span<const MessageField> fields;
};

// Reads one message; an empty text is an empty one. Errors: invalid_argument in the words of protobuf's JSON reader,
// reason "gateway".
Result<Object> read_message(std::string_view json, const MessageType& type);
// The message as JSON. Empty texts, false, 0, empty lists and maps are left out; times and nested messages are written
// when they are there.
std::string write_message(const MessageType& type, const Object& message);

// Access to members of a read message; what is not there is empty.
std::string text_of(const Object& m, std::string_view name);
std::int64_t integer_of(const Object& m, std::string_view name, std::int64_t fallback = 0);
bool flag_of(const Object& m, std::string_view name);
const Object* message_of(const Object& m, std::string_view name);
Object document_of(const Object& m, std::string_view name);
std::map<std::string, std::string> texts_of(const Object& m, std::string_view name);  // of a map of texts
Value texts_value(const std::map<std::string, std::string>& texts);

}  // namespace mr::pipelines
