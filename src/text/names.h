// Names of fields in their two spellings, as protobuf's JSON mapping turns one into the other. Pure.
#pragma once
#include <string>
#include <string_view>

namespace mr::text {

// "run_id" -> "runId".
std::string camel_case(std::string_view snake);
// "runId" -> "run_id".
std::string snake_case(std::string_view camel);

}  // namespace mr::text
