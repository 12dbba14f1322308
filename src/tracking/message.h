// Request messages: one description of each message's fields decodes it from a JSON body or a query string, checks it
// with MLflow's error texts, and gives typed access. Descriptions are constants in routes*.cpp. Values are owned.
#pragma once
#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "http/message.h"

namespace mr::tracking {

// enumeration: a name, or a number kept as its text; what is unknown is for the handler to ignore.
enum class FieldType : std::uint8_t { string, integer, real, boolean, enumeration, strings, messages };

struct Field {
  std::string_view name;  // proto spelling; camelCase is accepted too
  FieldType type = FieldType::string;
  bool required = false;               // null, absent and "" count as missing
  std::span<const Field> fields = {};  // of a message list
};

class Message {
 public:
  Message() = default;
  Message(std::span<const Field> fields, boost::json::object values) : fields_(fields), values_(std::move(values)) {}

  // Where the values came from: a query string shows numbers as texts in errors.
  bool from_query = false;

  [[nodiscard]] bool has(std::string_view name) const;
  [[nodiscard]] std::string str(std::string_view name) const;  // "" when absent
  [[nodiscard]] std::optional<std::string> opt_str(std::string_view name) const;
  [[nodiscard]] std::optional<std::int64_t> i64(std::string_view name) const;
  [[nodiscard]] std::optional<double> real(std::string_view name) const;
  [[nodiscard]] bool boolean(std::string_view name, bool fallback = false) const;
  [[nodiscard]] std::vector<std::string> strings(std::string_view name) const;
  [[nodiscard]] std::vector<Message> messages(std::string_view name) const;

 private:
  std::span<const Field> fields_;
  boost::json::object values_;  // snake_case names, each value already of its field's type
};

// The message of a request: from the query string for GET, else from the body (already read).
Result<Message> decode(const http::Request& request, std::string_view body, std::span<const Field> fields);
// The JSON-body half, for tests and fuzzing.
Result<Message> decode_json(std::string_view body, std::span<const Field> fields);

// Shared sub-messages.
extern const std::span<const Field> kTagFields;  // key, value

}  // namespace mr::tracking
