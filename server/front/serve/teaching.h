/* teaching.h - jobs that learn adapters, of the models that are served. */
#ifndef LIMOE_SERVER_FRONT_SERVE_TEACHING_H
#define LIMOE_SERVER_FRONT_SERVE_TEACHING_H

#include "server/front/server.h"

/* Fills server->training, once there are adapters and decoders. */
enum limoe_status teaching_start(struct server *server, struct limoe_error *err);

#endif
