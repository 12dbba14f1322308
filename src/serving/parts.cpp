#include "serving/parts.h"

#include "json/writer.h"
#include "serving/number_text.h"

namespace mr::serving {

namespace {

void append_cell(std::string& out, const OutputPart& p, std::size_t i) {
  if (p.type == DataType::bytes) {
    if (p.content_type == "pd_json")
      out += p.texts[i];
    else
      json::append_string(out, p.texts[i]);
  } else if (!p.integers.empty()) {
    out += p.type == DataType::uint64 ? std::to_string(static_cast<std::uint64_t>(p.integers[i]))
                                      : std::to_string(p.integers[i]);
  } else {
    append_number(out, p.type, p.numbers[i]);
  }
}

// Nested lists from dimension `dim` on; `at` is the next value.
void append_nested(std::string& out, const OutputPart& p, std::size_t dim, std::size_t& at) {
  if (dim == p.shape.size()) {
    append_cell(out, p, at++);
    return;
  }
  out += '[';
  for (std::int64_t i = 0; i < p.shape[dim]; ++i) {
    if (i > 0) out += ',';
    append_nested(out, p, dim + 1, at);
  }
  out += ']';
}

void append_codec(std::string& out, std::string_view content_type) {
  out += R"("parameters":{"content_type":)";
  json::append_string(out, content_type);
  out += "},";
}

}  // namespace

std::optional<std::size_t> part_size(const OutputPart& p) {
  constexpr std::size_t kMost = std::size_t{1} << 32;
  constexpr std::size_t kMostOfNothing = std::size_t{1} << 20;  // empty lists that are written all the same
  std::size_t n = 1;
  bool none = false;
  if (p.shape.size() > 32) return std::nullopt;
  for (auto d : p.shape) {
    if (d < 0 || (d > 0 && n > kMost / static_cast<std::size_t>(d))) return std::nullopt;
    none = none || d == 0;
    if (d > 0) n *= static_cast<std::size_t>(d);
  }
  if (none && n > kMostOfNothing) return std::nullopt;
  return none ? 0 : n;
}

void append_v2_outputs(std::string& out, const Output& o) {
  append_codec(out, o.form == Output::Form::frame  ? std::string_view("pd")
                    : o.form == Output::Form::dict ? std::string_view("dict")
                                                   : std::string_view(o.parts[0].content_type));
  out += R"("outputs":[)";
  bool first = true;
  for (const auto& p : o.parts) {
    if (!first) out += ',';
    first = false;
    out += R"({"name":)";
    json::append_string(out, p.name.empty() ? "output-1" : p.name);
    out += R"(,"shape":[)";
    for (std::size_t i = 0; i < p.shape.size(); ++i) out += fmt::format("{}{}", i > 0 ? "," : "", p.shape[i]);
    if (p.shape.empty()) out += "1";
    if (p.shape.size() <= 1) out += ",1";
    out += fmt::format(R"(],"datatype":"{}",)", data_type_name(p.type));
    if (!p.content_type.empty()) append_codec(out, p.content_type);
    out += R"("data":[)";
    auto n = part_size(p).value_or(0);
    for (std::size_t i = 0; i < n; ++i) {
      if (i > 0) out += ',';
      if (p.type == DataType::bytes)
        json::append_string(out, p.texts[i]);
      else
        append_cell(out, p, i);
    }
    out += "]}";
  }
  out += ']';
}

void append_predictions(std::string& out, const Output& o) {
  std::size_t at = 0;
  if (o.form == Output::Form::dict) {
    out += '{';
    for (std::size_t i = 0; i < o.parts.size(); ++i) {
      if (i > 0) out += ',';
      json::append_string(out, o.parts[i].name);
      out += ':';
      append_nested(out, o.parts[i], 0, at = 0);
    }
    out += '}';
    return;
  }
  if (o.form == Output::Form::arrays) {
    out += '[';
    for (std::size_t i = 0; i < o.parts.size(); ++i) {
      if (i > 0) out += ',';
      append_nested(out, o.parts[i], 0, at = 0);
    }
    out += ']';
    return;
  }
  if (o.form != Output::Form::frame) {
    append_nested(out, o.parts[0], 0, at);
    return;
  }
  out += '[';
  const auto rows = part_size(o.parts[0]).value_or(0);
  for (std::size_t r = 0; r < rows; ++r) {
    out += r > 0 ? ",{" : "{";
    for (std::size_t c = 0; c < o.parts.size(); ++c) {
      if (c > 0) out += ',';
      json::append_string(out, o.parts[c].name);
      out += ':';
      append_cell(out, o.parts[c], r);
    }
    out += '}';
  }
  out += ']';
}

}  // namespace mr::serving
