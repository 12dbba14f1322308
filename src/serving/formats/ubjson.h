// Documents of model files, from UBJSON or JSON text: XGBoost writes both, CatBoost the latter. Arrays of numbers are
// kept as such, so that a document costs no more memory than its file. Pure functions; results own what they hold.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace mr::serving {

struct Doc {
  enum class Kind : std::uint8_t { none, boolean, number, text, list, numbers, object };
  Kind kind = Kind::none;
  double number = 0;  // of a number or boolean
  std::string text;
  std::vector<Doc> items;         // of a list, or of an object
  std::vector<std::string> keys;  // of an object, as many as items
  std::vector<double> numbers;    // a list of numbers and booleans only; an empty list is this, too

  // The member, or nullptr when this is not an object or has none.
  [[nodiscard]] const Doc* find(std::string_view key) const;
  // The member's text, number or flag (numbers are read from texts, too), or the fallback.
  [[nodiscard]] std::string_view text_or(std::string_view key, std::string_view fallback) const;
  [[nodiscard]] double number_or(std::string_view key, double fallback) const;
};

// At most 64 deep and `max_values` values outside of arrays of numbers. Errors say at which byte the document breaks.
Result<Doc> read_ubjson(std::string_view bytes, std::size_t max_values = 8'000'000);
// As Python's json: NaN, Infinity and -Infinity are numbers.
Result<Doc> read_json_model(std::string_view bytes, std::size_t max_values = 8'000'000);
// Whichever of the two it is.
Result<Doc> read_document(std::string_view bytes);

}  // namespace mr::serving
