// How a predicted number is written in JSON answers: by its data type, shortest text that reads back. Pure function.
#pragma once
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>

#include "json/writer.h"
#include "serving/types.h"

namespace mr::serving {

inline void append_number(std::string& out, DataType type, double v) {
  char buf[40];
  if (type == DataType::boolean) {
    out += v != 0 ? "true" : "false";
  } else if (!is_float(type)) {
    auto r = type == DataType::uint64 ? std::to_chars(buf, buf + sizeof buf, static_cast<std::uint64_t>(v))
                                      : std::to_chars(buf, buf + sizeof buf, static_cast<std::int64_t>(v));
    out.append(buf, r.ptr);
  } else if (!std::isfinite(v)) {
    out += "null";  // JSON has no NaN
  } else if (type == DataType::fp32) {
    auto r = std::to_chars(buf, buf + sizeof buf, static_cast<float>(v));
    std::string_view t(buf, static_cast<std::size_t>(r.ptr - buf));
    out += t;
    if (t.find_first_of(".e") == std::string_view::npos) out += ".0";
  } else {
    json::append_double(out, v);
  }
}

}  // namespace mr::serving
