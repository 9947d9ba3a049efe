/* exporter.h - `limoe exporter`: a process that posts spans of finished requests to an OpenTelemetry collector. */
#ifndef LIMOE_SERVER_EXPORTER_EXPORTER_H
#define LIMOE_SERVER_EXPORTER_EXPORTER_H

/* Exports until the front lets go of the pipe, then what is left within a few seconds. Returns the exit status. */
int exporter_main(int argc, char **argv);

#endif
