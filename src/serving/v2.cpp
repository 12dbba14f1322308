#include "serving/v2.h"

#include "crypto/random.h"
#include "json/writer.h"
#include "serving/number_text.h"
#include "serving/parts.h"
#include "serving/v2_request.h"

namespace mr::serving {

Refusal refusal(int status, std::string_view error) {
  std::string body;
  json::Writer w(body);
  w.begin_object();
  w.field("error", error);
  w.end_object();
  return {status, std::move(body)};
}

int engine_status(const Error& e) {
  switch (e.code) {
    case Code::resource_exhausted:
      return 429;
    case Code::unavailable:
      return 503;
    case Code::deadline_exceeded:
      return 504;
    case Code::internal:
      return 500;
    default:
      return 400;
  }
}

Refusal refusal_422(std::string_view type, std::string_view loc, std::string_view msg, std::string_view ctx) {
  std::string body = R"({"detail":[{"type":)";
  json::append_string(body, type);
  body += R"(,"loc":)";
  body += loc;
  body += R"(,"msg":)";
  json::append_string(body, msg);
  if (!ctx.empty()) {
    body += R"(,"ctx":)";
    body += ctx;
  }
  body += "}]}";
  return {422, std::move(body)};
}

namespace {

// MLServer calls the one output output-1, whatever the metadata says and the request asks for. Who asks for it by the
// name in the metadata, as the specification has it, gets it under that name.
std::string_view name_of_output(const Model& m, const InferRequest& rq) {
  const auto& said = m.loaded.signature.outputs;
  return rq.outputs.size() == 1 && said.size() == 1 && rq.outputs[0].name == said[0].name
             ? rq.outputs[0].name
             : std::string_view(m.output_name);
}

std::string begin_answer(const Model& m, const std::string& id, std::size_t more = 0) {
  std::string out;
  out.reserve(256 + m.name.size() + id.size() + more);
  out += R"({"model_name":)";
  json::append_string(out, m.name);
  if (!m.version.empty()) {
    out += R"(,"model_version":)";
    json::append_string(out, m.version);
  }
  out += R"(,"id":)";
  json::append_string(out, id);
  return out;
}

std::string render_json(const Model& m, const InferRequest& rq, const Output& o) {
  auto out = begin_answer(m, *rq.id, o.numbers.size() * 20);
  if (!o.parts.empty()) {
    out += ',';
    append_v2_outputs(out, o);
    out += '}';
    return out;
  }
  out += R"(,"parameters":{"content_type":"np"},"outputs":[{"name":)";
  json::append_string(out, name_of_output(m, rq));
  out += R"(,"shape":[)";
  append_number(out, DataType::int64, static_cast<double>(o.rows));
  out += ',';
  append_number(out, DataType::int64, static_cast<double>(o.width));
  out += R"(],"datatype":")";
  out += data_type_name(o.type);
  out += R"(","parameters":{"content_type":"np"},"data":[)";
  bool first = true;
  for (const auto& t : o.texts) {
    if (!first) out += ',';
    first = false;
    json::append_string(out, t);
  }
  for (double v : o.numbers) {
    if (!first) out += ',';
    first = false;
    append_number(out, o.type, v);
  }
  out += "]}]}";
  return out;
}

// Some outputs as raw bytes behind the JSON, the others inside it.
InferAnswer render_binary(const Model& m, const InferRequest& rq, Output o) {
  const auto content_type = std::string(answer_content_type(o));
  const auto form = o.form;
  auto parts = parts_of(m, rq, std::move(o));
  InferAnswer answer{.id = *rq.id, .body = begin_answer(m, *rq.id), .json_size = 0};
  std::string raw;
  auto& out = answer.body;
  out += R"(,"parameters":{"content_type":)";
  json::append_string(out, content_type);
  out += R"(},"outputs":[)";
  for (std::size_t i = 0; i < parts.size(); ++i) {
    auto& p = parts[i];
    bool binary = rq.binary_output;
    for (const auto& w : rq.outputs)
      if (w.binary && (w.name == p.name || rq.outputs.size() == 1)) binary = *w.binary;
    if (i > 0) out += ',';
    if (!binary) {
      // One part alone, cut out of the text for all.
      Output one;
      one.form = form == Output::Form::dict ? form : Output::Form::array;
      one.parts.push_back(std::move(p));
      std::string text;
      append_v2_outputs(text, one);
      auto at = text.find(R"("outputs":[)") + 11;
      out += text.substr(at, text.size() - at - 1);
      continue;
    }
    out += R"({"name":)";
    json::append_string(out, p.name);
    out += R"(,"shape":[)";
    for (std::size_t d = 0; d < p.shape.size(); ++d) out += fmt::format("{}{}", d > 0 ? "," : "", p.shape[d]);
    out += fmt::format(R"(],"datatype":"{}","parameters":{{)", data_type_name(p.type));
    if (!p.content_type.empty()) {
      out += R"("content_type":)";
      json::append_string(out, p.content_type);
      out += ',';
    }
    auto bytes = raw_of(p);
    out += fmt::format(R"("binary_data_size":{}}}}})", bytes.size());
    raw += bytes;
  }
  out += "]}";
  if (raw.empty() && !rq.binary_output) return answer;
  answer.json_size = out.size();
  out += raw;
  return answer;
}

}  // namespace

std::string_view answer_content_type(const Output& o) {
  return o.parts.empty()                 ? "np"
         : o.form == Output::Form::frame ? "pd"
         : o.form == Output::Form::dict  ? "dict"
                                         : std::string_view(o.parts[0].content_type);
}

std::vector<OutputPart> parts_of(const Model& m, const InferRequest& rq, Output o) {
  if (o.parts.empty()) {
    OutputPart p;
    p.name = name_of_output(m, rq);
    p.content_type = "np";
    p.type = o.type;
    p.shape = {static_cast<std::int64_t>(o.rows), static_cast<std::int64_t>(o.width)};
    p.numbers = std::move(o.numbers);
    p.texts = std::move(o.texts);
    o.parts.push_back(std::move(p));
    return std::move(o.parts);
  }
  for (auto& p : o.parts) {
    if (p.name.empty()) p.name = name_of_output(m, rq);
    if (p.shape.empty()) p.shape = {1};
    if (p.shape.size() == 1) p.shape.push_back(1);
  }
  return std::move(o.parts);
}

std::expected<InferAnswer, Refusal> infer(const Model& m, std::string_view body, std::optional<std::size_t> json_size) {
  auto binary = body.substr(json_size.value_or(body.size()));
  auto read = read_json_request(body.substr(0, json_size.value_or(body.size())), binary);
  if (!read) return std::unexpected(read.error());
  auto& rq = read->request;
  auto output = predict_request(m, rq);
  if (!output) return std::unexpected(output.error());
  if (!rq.id) rq.id = crypto::uuid4();
  bool any = rq.binary_output;
  for (const auto& w : rq.outputs) any = any || w.binary.value_or(false);
  if (any) return render_binary(m, rq, std::move(*output));
  return InferAnswer{*rq.id, render_json(m, rq, *output), 0};
}

}  // namespace mr::serving
