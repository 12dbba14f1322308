// Reads one message of a PipelineSpec by the names of its fields, in camelCase or snake_case. A field that nobody asked
// for is an error, as the protobuf JSON reader has it. Internal to the room.
#pragma once
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/types.h"

namespace mr::pipelines {

class Fields {
 public:
  // `path` is for error texts: "components.comp-train.dag". A value that is no object makes done() fail.
  Fields(const Value& v, std::string path);
  // The field's value, or nullptr (absent or null). `camel` is its name; the snake_case form is found too.
  const Value* take(std::string_view camel);
  std::string text(std::string_view camel);
  bool flag(std::string_view camel, bool otherwise = false);
  // int32 and int64 fields: JSON numbers or decimal texts.
  std::int64_t integer(std::string_view camel, std::int64_t otherwise = 0);
  double number(std::string_view camel, double otherwise = 0);
  std::vector<std::string> texts(std::string_view camel);
  // A google.protobuf.Duration ("3.5s") in seconds.
  double duration_s(std::string_view camel, double otherwise = 0);
  // The members of a map field; empty when absent.
  const Object& map(std::string_view camel);
  const Array& list(std::string_view camel);
  void ignore(std::initializer_list<std::string_view> camel);
  [[nodiscard]] std::string at(std::string_view field) const;  // the field's path
  void wrong(std::string_view camel, std::string_view wanted);
  // The first error met, or an unknown field.
  [[nodiscard]] Result<void> done() const;
  // All errors met, and every unknown field.
  [[nodiscard]] std::vector<Error> errors() const;

 private:
  const Object* o_ = nullptr;
  std::string path_;
  std::vector<std::string_view> seen_;
  std::vector<Error> errors_;
};

// Where errors of a spec go. Usually the first one ends the reading; when all are wanted, each is noted, and reading
// goes on with what there is.
class Problems {
 public:
  explicit Problems(bool all) : all_(all) {}
  // An error where all are wanted becomes none.
  [[nodiscard]] Result<void> pass(Result<void> r);
  [[nodiscard]] Result<void> done(const Fields& f);
  void note(Error e);
  [[nodiscard]] bool all() const { return all_; }
  [[nodiscard]] const std::vector<Error>& noted() const { return noted_; }
  // Components that could not be read whole, by index: what others expect of them cannot be judged.
  std::set<std::size_t> bad;

 private:
  bool all_;
  std::vector<Error> noted_;
};

}  // namespace mr::pipelines
