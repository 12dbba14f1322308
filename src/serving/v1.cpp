#include "serving/v1.h"

#include "json/parse.h"
#include "json/writer.h"
#include "serving/cloud_event.h"
#include "serving/columns.h"
#include "serving/exchange.h"
#include "serving/v2_request.h"
#include "text/text.h"

namespace mr::serving {

namespace {

using http::Method;
using V1Reply = task::Task<http::Response>;
using boost::json::value;

http::Response no_model(std::string_view name) {
  return refused(refusal(404, fmt::format("Model with name {} does not exist.", printable(name))));
}

V1Reply run_predict(Repository& repo, http::Request& rq, std::string name) {
  auto model = repo.find(name, "");
  if (!model && model.error().reason == "waiting") model = co_await repo.get(name, "");
  if (!model && model.error().code != Code::not_found)
    co_return refused(refusal(engine_status(model.error()), model.error().message));
  if (!model) co_return no_model(name);
  Counted counted(*model);
  auto body = co_await http::read_all(rq, kBodyLimit);
  if (!body) co_return body_error(body.error());
  const auto form = event_form(rq);
  if (form == EventForm::structured) {
    auto data = event_data(*body);
    if (!data) co_return refused(refusal(400, data.error().message));
    *body = std::move(*data);
  }
  auto computed = co_await compute(
      *model, body->size(), [&] { return predict_v1(**model, *body); },
      [&] { return order_of(rq.headers.get("Priority"), {}); });
  if (!computed) co_return refused(computed.error());
  if (!*computed) co_return refused(computed->error());
  counted.answered();
  co_return event_answer(form, name, std::move(**computed));
}

}  // namespace

std::expected<std::string, Refusal> predict_rows(const Model& m, const boost::json::array& rows, bool* by_rows) {
  auto table = table_of_rows(rows);
  if (!table) return refuse(table.error().message);
  auto frame = frame_of_table(m, *table, CellRules::v1);
  if (!frame) return refuse(frame.error().message);
  if (frame->rows == 0) return refuse("Found array with 0 sample(s): there are no instances");
  auto output = run_engine(m, *frame);
  if (!output) {
    auto names = frame->names;
    if (names.empty()) names = m.loaded.engine->feature_names();
    return std::unexpected(engine_refusal(output.error(), names));
  }
  if (by_rows != nullptr) *by_rows = output->parts.empty() || output->form != Output::Form::arrays;
  std::string out;
  append_predicted(out, *output, false);
  return out;
}

namespace {

// By the model's own library: tensors, nested values, models without a signature.
std::expected<std::string, Refusal> predict_there(const Model& m, std::string_view body) {
  auto answer = score_raw(m, "application/json", body);
  if (!answer) return std::unexpected(engine_refusal(answer.error(), {}));
  if (answer->status == 200) return std::move(answer->body);
  auto said = json::parse(answer->body);
  auto text = said ? std::string(json::string_or_empty(*said, "message")) : std::string();
  // The model's own fault is MLflow's 400.
  const int status = text.starts_with("Encountered an unexpected error") ? 500 : answer->status;
  return std::unexpected(refusal(status, text.empty() ? "the model refuses the request" : text));
}

}  // namespace

std::expected<std::string, Refusal> predict_v1(const Model& m, std::string_view body) {
  auto doc = json::parse(body);
  if (!doc) return refuse("Unrecognized request format: the body is no valid JSON");
  if (!doc->is_object()) return refuse("Unrecognized request format: the body is no JSON object");
  const value* rows = nullptr;
  for (const char* key : {"inputs", "instances"})
    if (const auto* v = json::find(*doc, key)) {
      if (!v->is_array()) return refuse(fmt::format("Expected \"{}\" to be a list", key));
      rows = v;
      break;
    }
  if (rows == nullptr) return refuse("Expected \"instances\" or \"inputs\" in the request");
  if (!reads_rows(m)) return predict_there(m, body);
  if (rows->get_array().empty()) return refuse("Found array with 0 sample(s): there are no instances");
  auto predicted = predict_rows(m, rows->get_array());
  if (!predicted) return std::unexpected(predicted.error());
  return R"({"predictions":)" + *predicted + "}";
}

void add_v1_routes(http::Router& router, Repository& repo) {
  router.add(Method::get, "/",
             [](http::Request&) -> V1Reply { co_return http::Response::json(200, R"({"status":"alive"})"); });
  router.add(Method::get, "/v1/models", [&repo](http::Request&) -> V1Reply {
    std::string out;
    json::Writer w(out);
    w.begin_object();
    w.key("models");
    w.begin_array();
    std::string last;
    for (const auto& e : repo.index())
      if (e.ready && e.name != last) w.string(last = e.name);
    w.end_array();
    w.end_object();
    co_return http::Response::json(200, std::move(out));
  });
  router.add(Method::get, "/v1/models/{name}", [&repo](http::Request& rq) -> V1Reply {
    const auto& name = rq.params[0];
    bool ready = false;
    bool known = false;
    for (const auto& e : repo.index()) {
      if (e.name != name) continue;
      known = true;
      ready = ready || e.ready;
    }
    if (!known) co_return no_model(name);
    if (!ready) co_return refused(refusal(503, fmt::format("Model with name {} is not ready.", printable(name))));
    std::string out = R"({"name":)";
    json::append_string(out, name);
    out += R"(,"ready":true})";
    co_return http::Response::json(200, std::move(out));
  });
  // The verb stands behind a colon, which clients may send as %3A: the parameter is decoded by now.
  router.add(Method::post, "/v1/models/{name}", [&repo](http::Request& rq) -> V1Reply {
    auto at = rq.params[0].rfind(':');
    auto verb = at == std::string::npos ? std::string() : rq.params[0].substr(at + 1);
    auto name = rq.params[0].substr(0, at);
    if (verb == "predict") return run_predict(repo, rq, name);
    return [](Repository& r, std::string v, std::string model) -> V1Reply {
      if (v != "explain") co_return http::Response::json(404, R"({"detail":"Not Found"})");
      if (auto m = r.find(model, ""); !m && m.error().code == Code::not_found) co_return no_model(model);
      co_return refused(refusal(501, "Could not find explainer_host."));  // as KServe's servers word it
    }(repo, verb, name);
  });
}

}  // namespace mr::serving
