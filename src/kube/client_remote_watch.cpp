#include "kube/client_remote_watch.h"

#include "json/parse.h"
#include "kube/errors.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

constexpr std::size_t kRemoteLine = 16U << 20;  // an event; the store of a cluster takes objects of 1.5 MB
constexpr std::size_t kRemoteDepth = 256;

// Pulls: what the consumer does not take waits in the connection, and so at the server.
class RemoteWatch : public Watch {
 public:
  RemoteWatch(std::vector<ObjectPtr> first, std::unique_ptr<http::BodyReader> body, std::shared_ptr<RemoteEnd> end)
      : first_(std::make_move_iterator(first.begin()), std::make_move_iterator(first.end())),
        body_(std::move(body)),
        end_(std::move(end)) {}

  task::Task<Result<std::optional<WatchEvent>>> next() override {
    for (;;) {
      if (end_->abort->aborted) body_.reset();
      if (!body_) co_return std::optional<WatchEvent>{};
      if (!first_.empty()) {
        WatchEvent e{EventType::added, std::move(first_.front())};
        first_.pop_front();
        co_return std::optional<WatchEvent>(std::move(e));
      }
      if (auto nl = buffer_.find('\n', scanned_); nl != std::string::npos) {
        auto line = std::string_view(buffer_).substr(at_, nl - at_);
        at_ = scanned_ = nl + 1;
        if (text::trim(line).empty()) continue;
        any_ = true;
        auto e = event_of(line);
        if (!e) body_.reset();
        co_return e;
      }
      buffer_.erase(0, at_);
      at_ = 0;
      scanned_ = buffer_.size();
      if (buffer_.size() > kRemoteLine) {
        body_.reset();
        co_return remote_fault("an event of the watch is too large");
      }
      auto piece = co_await body_->read();
      if (end_->abort->aborted) continue;
      if (!piece) {
        body_.reset();
        co_return remote_fault("the watch was cut off");
      }
      if (piece->empty()) {
        body_.reset();
        // Who watches again at once must not do so without a pause when the server ends each watch immediately.
        if (!any_ && time::mono_ns() - begun_ < 1'000'000'000)
          co_return remote_fault("the server ended the watch as soon as it had begun");
        continue;
      }
      buffer_ += *piece;
    }
  }

 private:
  static Result<std::optional<WatchEvent>> event_of(std::string_view line) {
    MR_TRY(auto v, remote_document(line));
    auto& o = v.get_object();
    auto type = text_at(o, "type");
    auto* object = o.if_contains("object");
    if (object == nullptr || !object->is_object()) return remote_fault("an event of the watch has no object");
    if (type == "ERROR") {
      auto e = error_of_status(object->get_object(), 500);
      if (e.code == 410) e.reason = "Expired";
      return std::unexpected(to_error(e));
    }
    WatchEvent e;
    if (type == "MODIFIED")
      e.type = EventType::modified;
    else if (type == "DELETED")
      e.type = EventType::deleted;
    else if (type == "BOOKMARK")
      e.type = EventType::bookmark;
    else if (type != "ADDED")
      return remote_fault("an event of the watch is of no known type");
    e.object = std::make_shared<const Object>(std::move(object->get_object()));
    return std::optional<WatchEvent>(std::move(e));
  }

  std::deque<ObjectPtr> first_;
  std::unique_ptr<http::BodyReader> body_;  // null: ended
  std::shared_ptr<RemoteEnd> end_;
  std::string buffer_;
  std::size_t at_ = 0, scanned_ = 0;
  std::int64_t begun_ = time::mono_ns();
  bool any_ = false;
};

}  // namespace

std::unexpected<Error> remote_fault(std::string message, Code code) {
  return fail(code, std::move(message), code == Code::deadline_exceeded ? "Timeout" : "ServiceUnavailable");
}

Error remote_error(int status, std::string_view body) {
  auto v = json::parse(body, kRemoteDepth);
  ApiError e;
  if (v && v->is_object() && text_at(v->get_object(), "kind") == "Status") {
    e = error_of_status(v->get_object(), status);
  } else {
    e = error_of_status({}, status);
    e.message = fmt::format("the server answered with HTTP status {}", status);
  }
  // "Gone" of older servers means the same to whoever asks.
  if (e.code == 410) e.reason = "Expired";
  return to_error(e);
}

Result<Value> remote_document(std::string_view text) {
  auto v = json::parse(text, kRemoteDepth);
  if (!v || !v->is_object())
    return remote_fault("what the Kubernetes API answered cannot be read: is there something else at its address?");
  return std::move(*v);
}

std::unique_ptr<Watch> make_remote_watch(std::vector<ObjectPtr> first, std::unique_ptr<http::BodyReader> body,
                                         std::shared_ptr<RemoteEnd> end) {
  return std::make_unique<RemoteWatch>(std::move(first), std::move(body), std::move(end));
}

}  // namespace mr::kube
