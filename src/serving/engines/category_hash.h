// The number by which CatBoost knows a category: the lower half of the first version of CityHash's 64 bits over its
// text. Pure function.
#pragma once
#include <cstdint>
#include <string_view>

namespace mr::serving {

std::int32_t category_hash(std::string_view text);

}  // namespace mr::serving
