// Values under evaluation and the functions over them. Internal to the room; used by one thread.
#pragma once
#include <compare>
#include <deque>
#include <string>
#include <string_view>

#include "pipelines/cel_node.h"

namespace mr::pipelines::cel {

// Texts and documents are borrowed: from the variables, from the tree, or from the run's Keeper.
struct Val {
  enum class Kind : std::uint8_t { null, boolean, integer, uinteger, number, string, list, map } kind = Kind::null;
  // Of a document: its integers are integers. Otherwise it is JSON as protobuf's Struct has it, whose numbers are all
  // doubles, so that `x / 2.0` does what it does in the original.
  bool typed = false;
  bool boolean = false;
  std::int64_t integer = 0;
  std::uint64_t uinteger = 0;
  double number = 0;
  std::string_view text;
  const Value* doc = nullptr;

  [[nodiscard]] bool is_number() const {
    return kind == Kind::integer || kind == Kind::uinteger || kind == Kind::number;
  }
};

Val of(bool b);
Val of(std::int64_t i);
Val of(std::uint64_t u);
Val of(double d);
Val of(std::string_view s);
Val of(const Value& doc, bool typed);

// Owns what an evaluation makes, and pays for it.
class Keeper {
 public:
  // Errors: the budget is spent.
  Result<> pay(std::size_t bytes);
  Val keep(std::string s) { return of(std::string_view(texts_.emplace_back(std::move(s)))); }
  Val keep(Value v, bool typed) { return of(documents_.emplace_back(std::move(v)), typed); }

 private:
  std::size_t budget_ = kEvaluationBudget;
  std::deque<std::string> texts_;
  std::deque<Value> documents_;
};

std::string_view kind_name(const Val& v);  // "null_type", "int"
// A scalar as a text.
std::string written(const Val& v);
// Numbers by value, whatever their types.
std::partial_ordering order(const Val& a, const Val& b);
// `v` with its integers as doubles.
Value doubles(const Value& v);
// About how many bytes `v` takes.
std::size_t weight(const Value& v);
// `argument` is null where the function takes none.
Result<Val> call(Function f, const Val& v, const Val& argument, Keeper& keeper);

std::unexpected<Error> refused(std::string why);
std::unexpected<Error> no_overload();

}  // namespace mr::pipelines::cel
