// JSON bodies against a description with every field type, and the small parsers beside it.
#include "http/files.h"
#include "json/parse.h"
#include "json/writer.h"
#include "text/text.h"
#include "text/uri.h"
#include "tracking/message.h"
#include "tracking/validate.h"

using namespace mr;
using namespace mr::tracking;

namespace {
constexpr Field kInner[] = {{"key", FieldType::string, true}, {"value", FieldType::real}, {"step", FieldType::integer}};
constexpr Field kItem[] = {{"name", FieldType::string}, {"tags", FieldType::messages, false, kInner}};
constexpr Field kFields[] = {{"run_id", FieldType::string}, {"max_results", FieldType::integer},
                             {"value", FieldType::real},    {"flag", FieldType::boolean},
                             {"names", FieldType::strings}, {"items", FieldType::messages, false, kItem}};

void use(const Result<Message>& m) {
  if (!m) {
    if (m.error().message.empty()) std::abort();
    return;
  }
  std::string out;
  json::Writer w(out);
  w.begin_object();
  w.field("run_id", m->str("run_id"));
  w.field("max_results", m->i64("max_results").value_or(0));
  if (auto v = m->real("value"); v && std::isfinite(*v)) w.field("value", *v);
  w.field("flag", m->boolean("flag"));
  for (const auto& n : m->strings("names")) w.field(n, "");
  for (const auto& i : m->messages("items"))
    for (const auto& t : i.messages("tags")) w.field(t.str("key"), t.i64("step").value_or(0));
  w.end_object();
  if (!json::parse(out)) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  use(decode_json(input, kFields));
  http::Request rq;
  rq.method = http::Method::get;
  rq.query = input;
  use(decode(rq, "", kFields));
  (void)parse_page_token(input);
  (void)parse_page_token(text::base64_encode(input));
  (void)check_name(input, "key");
  (void)check_model_name(input);
  (void)check_alias(input);
  (void)check_experiment_name(input);
  (void)parse_experiment_id(input);
  (void)parse_model_version(input);
  (void)http::attachment(input);
  (void)text::parse_uri(input);
  if (auto safe = text::safe_relative_path(input))
    for (auto segment : text::split(*safe, '/'))
      if (segment.empty() || segment == "." || segment == "..") std::abort();
  if (auto d = text::percent_decode(input); d && text::percent_decode(text::percent_encode(*d)) != d) std::abort();
  if (text::base64_decode(text::base64_encode(input)) != input) std::abort();
  std::string quoted;
  json::append_string(quoted, input);
  if (!text::utf8_valid(quoted) || !json::parse(quoted)) std::abort();
  if (size >= 8) {
    double v = 0;
    std::memcpy(&v, data, 8);
    if (std::isfinite(v)) {
      std::string t;
      json::append_double(t, v);
      if (std::strtod(t.c_str(), nullptr) != v) std::abort();
    }
  }
  return 0;
}
