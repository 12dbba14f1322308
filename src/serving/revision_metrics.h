// The metrics of Knative's queue-proxy, which KServe's dashboards show: requests and their times for each revision.
// Thread safe.
#pragma once
#include "http/message.h"
#include "kube/object.h"

namespace mr::serving {

// `inner`, counted under what the pod's labels say: revision_app_request_count, revision_app_request_latencies.
http::Handler with_revision_metrics(http::Handler inner, const kube::Object& pod);

}  // namespace mr::serving
