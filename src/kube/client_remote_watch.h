// The watch of a remote API and the reading of what one answers: internal to the remote client.
// A watch belongs to the loop that began it.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/async_client.h"
#include "kube/client.h"
#include "task/loop.h"

namespace mr::kube {

// An error of the way to the server, not of the API: reason "ServiceUnavailable" or "Timeout".
std::unexpected<Error> remote_fault(std::string message, Code code = Code::unavailable);
// What the server said with a status that is no success.
Error remote_error(int status, std::string_view body);
// The object that a text is.
Result<Value> remote_document(std::string_view text);

// A watch as close_watches() knows it.
struct RemoteEnd {
  task::Loop* loop = task::Loop::current();
  std::shared_ptr<http::Abort> abort = std::make_shared<http::Abort>();
};

// The events that `body` has, a line each, after one "added" for each of `first`. `body` null: ended already.
std::unique_ptr<Watch> make_remote_watch(std::vector<ObjectPtr> first, std::unique_ptr<http::BodyReader> body,
                                         std::shared_ptr<RemoteEnd> end);

}  // namespace mr::kube
