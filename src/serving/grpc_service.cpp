#include "serving/grpc_service.h"

#include "json/parse.h"
#include "serving/exchange.h"
#include "serving/grpc_messages.h"
#include "task/pool.h"

namespace mr::serving {

namespace {

using grpc::Call;
using grpc::Status;
using GrpcReply = task::Task<grpc::Reply>;

constexpr std::string_view kInference = "/inference.GRPCInferenceService/";
constexpr std::string_view kRepository = "/inference.model_repository.ModelRepositoryService/";

grpc::Reply broken_message() { return grpc::Reply::error(Status::invalid_argument, "the message cannot be read"); }
// The wording is MLServer's, where the version is always said.
grpc::Reply unknown_model(const Error& e, const std::string& name, const std::string& version) {
  if (e.code != Code::not_found) return grpc::Reply::error(grpc::status_of(e.code), e.message);
  return grpc::Reply::error(Status::not_found,
                            fmt::format("Model {} with version {} not found", printable(name), printable(version)));
}

grpc::Reply refused_call(const Refusal& r) {
  auto doc = json::parse(r.body);
  std::string text(doc ? json::string_or_empty(*doc, "error") : std::string_view());
  auto status = r.status == 429   ? Status::resource_exhausted
                : r.status == 503 ? Status::unavailable
                : r.status == 504 ? Status::deadline_exceeded
                : r.status >= 500 ? Status::internal
                                  : Status::invalid_argument;
  return grpc::Reply::error(status, text.empty() ? "the request was refused" : std::move(text));
}

Checked<std::string> infer_message(const Model& m, GrpcInfer& asked) {
  auto output = predict_request(m, asked.request);
  if (!output) return std::unexpected(output.error());
  const std::string content_type(answer_content_type(*output));
  return write_infer(m, asked, content_type, parts_of(m, asked.request, std::move(*output)));
}

GrpcReply model_infer(Repository& repo, Call call) {
  auto asked = read_infer(call.message);
  if (!asked) co_return refused_call(asked.error());
  auto model = co_await repo.get(asked->model, asked->version);
  if (!model) co_return unknown_model(model.error(), asked->model, asked->version);
  Counted counted(*model);
  auto computed = co_await compute(
      *model, call.message.size(), [&] { return infer_message(**model, *asked); },
      [&] {
        auto order = order_of({}, asked->request.params);
        if (call.timeout_ms > 0)
          order.timeout_ms = order.timeout_ms > 0 ? std::min(order.timeout_ms, call.timeout_ms) : call.timeout_ms;
        return order;
      });
  if (!computed) co_return refused_call(computed.error());
  if (!*computed) co_return refused_call(computed->error());
  counted.answered();
  co_return grpc::Reply{Status::ok, std::move(**computed)};
}

GrpcReply repository_change(Repository& repo, Call call, bool load) {
  auto names = read_two_texts(call.message);
  if (!names) co_return broken_message();
  auto done = co_await task::run_on(waiting_pool(),
                                    [&] { return load ? repo.load(names->second) : repo.unload(names->second); });
  if (!done) co_return grpc::Reply::error(Status::resource_exhausted, "too many loads are waiting; try again later");
  if (!*done) co_return grpc::Reply::error(grpc::status_of((*done).error().code), (*done).error().message);
  co_return grpc::Reply{};
}

GrpcReply about_model(Repository& repo, Call call, std::string (*tell)(const Model&)) {
  auto names = read_two_texts(call.message);
  if (!names) co_return broken_message();
  auto model = co_await repo.get(names->first, names->second);
  if (!model) co_return unknown_model(model.error(), names->first, names->second);
  co_return grpc::Reply{Status::ok, tell(**model)};
}

grpc::Reply statistics_of(Repository& repo, const std::string& message) {
  auto names = read_two_texts(message);
  if (!names) return broken_message();
  if (names->first.empty()) return {Status::ok, write_statistics(repo.loaded())};
  auto model = repo.find(names->first, names->second);
  if (!model) return unknown_model(model.error(), names->first, names->second);
  return {Status::ok, write_statistics({*model})};
}

grpc::Reply index_of(Repository& repo, const std::string& message) {
  auto only_ready = read_index(message);
  if (!only_ready) return broken_message();
  auto entries = repo.index();
  if (*only_ready) std::erase_if(entries, [](const auto& e) { return !e.ready; });
  return {Status::ok, write_index(entries)};
}

GrpcReply serve_call(Repository& repo, Call call) {
  std::string_view method = call.method;
  method.remove_prefix(method.rfind('/') + 1);
  if (method == "ModelInfer") co_return co_await model_infer(repo, std::move(call));
  if (method == "ServerLive" || method == "ServerReady") co_return grpc::Reply{Status::ok, write_flag(true)};
  if (method == "ServerMetadata") co_return grpc::Reply{Status::ok, write_server_metadata()};
  if (method == "ModelReady")
    co_return co_await about_model(repo, std::move(call), [](const Model&) { return write_flag(true); });
  if (method == "ModelMetadata") co_return co_await about_model(repo, std::move(call), write_model_metadata);
  if (method == "ModelStatistics") co_return statistics_of(repo, call.message);
  if (method == "RepositoryIndex") co_return index_of(repo, call.message);
  const bool load = method == "RepositoryModelLoad";
  co_return co_await repository_change(repo, std::move(call), load);
}

}  // namespace

std::vector<std::string> grpc_methods() {
  std::vector<std::string> out;
  for (const char* m : {"ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer",
                        "ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"})
    out.push_back(std::string(kInference) + m);
  for (const char* m : {"RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"})
    out.push_back(std::string(kRepository) + m);
  return out;
}

grpc::Handler make_grpc_handler(Repository& repo) {
  return [&repo](Call call) -> GrpcReply { return serve_call(repo, std::move(call)); };
}

std::unique_ptr<grpc::Server> make_grpc_server(task::Loops& loops, Repository& repo, const std::string& address,
                                               std::uint16_t port, std::size_t max_message,
                                               std::shared_ptr<const http::TlsContext> tls) {
  grpc::ServerOptions o;
  o.address = address;
  o.port = port;
  if (max_message != 0) o.max_message = max_message;
  o.tls = std::move(tls);
  return std::make_unique<grpc::Server>(loops, o, grpc_methods(), make_grpc_handler(repo));
}

}  // namespace mr::serving
