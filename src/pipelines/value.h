// Parameter values: their types, their text forms, their conversions. Pure functions.
// Source of the rules: the KFP 2.17 driver and launcher (resolution of inputs, reading of output files).
#pragma once
#include <string>
#include <string_view>

#include "pipelines/types.h"

namespace mr::pipelines {

enum class ParameterType : std::uint8_t {
  string,
  integer,
  number,
  boolean,
  list,
  structure,
  task_final_status,
  task_config
};
// "NUMBER_INTEGER", and the old "INT" / "primitive" names. Errors: invalid_argument naming what is allowed.
Result<ParameterType> parse_parameter_type(std::string_view name);
std::string_view type_name(ParameterType t);

// The text form of a value: strings as they are, numbers in the shortest decimal form without exponent and without
// ".0", booleans true/false, lists and structs compact JSON (integral numbers inside without ".0"). null is the empty
// text.
std::string to_text(const Value& v);
// The compact JSON of an object, with the same numbers: what {{$}} becomes.
std::string compact_json(const Object& o);
// `v` as an input of type `want`: a value of another type becomes its text where a string is wanted; numbers must be
// integral where an integer is wanted (within +-(2^53-1)); null passes. Errors: invalid_argument with
// "parameter NAME must be of type NUMBER_INTEGER, not STRING".
Result<Value> convert(const Value& v, ParameterType want, std::string_view parameter);
// The text of an output file as a value of `type`. Errors name the parameter, the type and the start of the text.
Result<Value> from_text(std::string_view text, ParameterType type, std::string_view parameter);
// Numbers that are integral and exact become int64, at any depth, so that they print without ".0".
Value normalize(Value v);

}  // namespace mr::pipelines
