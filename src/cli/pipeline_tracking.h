// The tracking server as the pipelines room sees it: over its own REST API, on this program's listener or another's.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "pipelines/tracking_link.h"

namespace mr::cli {

// `address` and `port`: of the tracking listener. `inside_url`: by which steps reach it; `ui_url`: its web UI.
std::unique_ptr<pipelines::TrackingLink> make_tracking_link(std::string address, std::uint16_t port,
                                                            std::string inside_url, std::string ui_url);

}  // namespace mr::cli
