#include "serving/cloud_event.h"

#include "crypto/random.h"
#include "json/parse.h"
#include "json/writer.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::serving {

namespace {
constexpr std::string_view kStructured = "application/cloudevents+json";
constexpr std::string_view kAnswerType = "io.kserve.inference.response";
}  // namespace

EventForm event_form(const http::Request& rq) {
  auto type = rq.headers.get("Content-Type");
  if (text::iequals(text::trim(type.substr(0, type.find(';'))), kStructured)) return EventForm::structured;
  for (const char* h : {"ce-id", "ce-source", "ce-specversion", "ce-type"})
    if (!rq.headers.has(h)) return EventForm::none;
  return EventForm::binary;
}

Result<std::string> event_data(std::string_view body) {
  auto doc = json::parse(body);
  if (!doc || !doc->is_object())
    return fail(Code::invalid_argument, "Cloud Event Exceptions: the body is no JSON object");
  for (const char* field : {"id", "source", "specversion", "type"})
    if (json::string_or_empty(*doc, field).empty())
      return fail(Code::invalid_argument, fmt::format("Cloud Event Exceptions: the event has no {}", field));
  if (const auto* data = json::find(*doc, "data"); data != nullptr && !data->is_null())
    return data->is_string() ? std::string(data->get_string()) : json::serialize(*data);
  if (const auto* packed = json::find(*doc, "data_base64"); packed != nullptr && packed->is_string())
    if (auto plain = text::base64_decode(packed->get_string())) return std::move(*plain);
  return fail(Code::invalid_argument, "Cloud Event Exceptions: the event has no data");
}

http::Response event_answer(EventForm form, std::string_view model, std::string answer) {
  if (form == EventForm::none) return http::Response::json(200, std::move(answer));
  const auto id = crypto::uuid4();
  const auto source = fmt::format("io.kserve.inference.{}", model);
  const auto now = time::rfc3339_s(time::now_ms() / 1000);
  if (form == EventForm::binary) {
    auto r = http::Response::json(200, std::move(answer));
    // A model's name may hold what no header may.
    std::string safe;
    for (char c : source) safe += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? ' ' : c;
    r.headers.add("ce-specversion", "1.0");
    r.headers.add("ce-id", id);
    r.headers.add("ce-source", safe);
    r.headers.add("ce-type", std::string(kAnswerType));
    r.headers.add("ce-time", now);
    return r;
  }
  std::string out;
  json::Writer w(out);
  w.begin_object();
  w.field("specversion", "1.0");
  w.field("id", id);
  w.field("source", source);
  w.field("type", kAnswerType);
  w.field("time", now);
  w.key("data");
  w.raw(answer);
  w.end_object();
  return http::Response::text(200, std::move(out), kStructured);
}

}  // namespace mr::serving
