"""The web application: every endpoint at its path, the page and its files, and one form for everything that fails."""

import gzip
import hashlib
import logging
import re
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Final

from flask import Flask, Response, redirect, request, send_from_directory
from werkzeug.exceptions import HTTPException
from werkzeug.routing import IntegerConverter

from barwise.dashboard import security
from barwise.dashboard.api_base import json_response, view_of
from barwise.dashboard.config import DashboardConfig
from barwise.dashboard.endpoints import PREFIX, Endpoint, Endpoints
from barwise.dashboard.errors import DashboardError, NotFound, error_document, status_of
from barwise.dashboard.openapi import document
from barwise.dashboard.state import EXTENSION, Dashboard, dashboard
from barwise.errors import BarwiseError
