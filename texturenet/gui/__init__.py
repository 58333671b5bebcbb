"""The web page: from a folder of photos to painted pictures, without a command line. `python -m texturenet.gui`.

What the page shows is decided in rooms that know nothing of a page, and tested there:

==============  ===================================================================================
room            what it does
==============  ===================================================================================
guard           who may ask: password, foreign pages
uploads         files from a browser: names, sizes, thumbnails; paths that stay inside a folder
desk            what was chosen so far, kept over restarts
photos          a folder of photos, looked at while its path is typed
texture         the texture's crop and scale
pace            presets, and how long they take on this machine
training        one training in a process of its own: start, pause, stop, resume, find again
gallery         styles with what their files tell
easel           uploaded photos, painted
live_reference  the iterative method, watched while it runs
studio          all of these, once for a server
routes          what the page fetches: pictures, downloads, uploads
==============  ===================================================================================

and drawn by the only rooms that know NiceGUI:

==============  ===================================================================================
parts           pieces that several steps are made of
step_photos     which photos
step_texture    which texture, which part of it, at what scale
step_train      how far, and the training watched
step_stylize    photos, painted
reference_tab   one pass beside the iterative method
page            its head, the four steps, and the server
__main__        the command line
==============  ===================================================================================

The page holds no state of its own that matters: a reload, a second tab and a restarted server show what is on the disk
and in `studio`.
"""
