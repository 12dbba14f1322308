#include "serving/types.h"

namespace mr::serving {

namespace {
constexpr std::string_view names[] = {"BOOL",  "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16",
                                      "INT32", "INT64", "FP16",   "FP32",   "FP64",   "BYTES"};
}

std::string_view data_type_name(DataType t) { return names[static_cast<std::size_t>(t)]; }
std::optional<DataType> parse_data_type(std::string_view n) {
  for (std::size_t i = 0; i < std::size(names); ++i)
    if (names[i] == n) return static_cast<DataType>(i);
  return std::nullopt;
}

Result<ScoringAnswer> Engine::score(std::string_view, std::string_view) const {
  return fail(Code::unimplemented, "this engine does not speak MLflow's scoring protocol itself");
}

}  // namespace mr::serving
