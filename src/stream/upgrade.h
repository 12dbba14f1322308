// What exec, attach and port-forward share: the choice of protocol and the answers to those that none fits.
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace mr::stream {

// A Kubernetes Status as the answer.
http::Response status_response(int code, std::string_view reason, std::string_view message);
bool wants_spdy(const http::Request& request);
// The values of a header that may be repeated or hold a list.
std::vector<std::string> header_list(const http::Request& request, std::string_view name);
// The 101 answer to a SPDY upgrade under X-Stream-Protocol-Version, or 403 when no version is in common.
http::Response accept_spdy(const http::Request& request, std::initializer_list<std::string_view> versions,
                           http::UpgradeHandler handler);

}  // namespace mr::stream
